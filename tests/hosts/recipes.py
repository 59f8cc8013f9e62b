"""The pages of extension/recipes, as tests run them.

A fenced block of a page is code of the page only, unless its info string says more after the language:

    ```python run              it is run, in a directory that the blocks of a page share
    ```python file=app.py      it is written to that file there; `run` as well, and the file is run
    ```sh run                  by bash, which ends at the first command that fails

What a page calls http://127.0.0.1:8080/app and /usr/local/lib/libturso_vfs.so is, in a test, the test's own primary and
what was built; everything else is as it stands in the page.
"""

import dataclasses
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ROOT / "extension" / "recipes"
URL = "http://127.0.0.1:8080/app"
INSTALLED = "/usr/local/lib"  # Where `cmake --install` puts the libraries unless told otherwise.

_FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.M | re.S)


@dataclasses.dataclass
class Block:
    language: str
    text: str
    file: str = ""
    runs: bool = False


def blocks(page):
    """The blocks of extension/recipes/PAGE.md that a test writes or runs."""
    found = []
    for language, info, text in _FENCE.findall((PAGES / f"{page}.md").read_text("utf-8")):
        block = Block(language, text)
        for word in info.split():
            if word == "run":
                block.runs = True
            elif word.startswith("file="):
                block.file = word.removeprefix("file=")
            else:
                raise AssertionError(f"{page}.md: unknown word {word} after ```{language}")
        if block.runs or block.file:
            found.append(block)
    return found


def placed(text, url, build):
    """The text of a block for a test's primary and what was built."""
    for path in ("lib/", "share/turso_vfs/"):
        assert f"/usr/{path}" not in text, "recipes name what is in /usr/local"
    text = re.sub(rf"{INSTALLED}\b", str(build), text.replace(URL, url))
    text = text.replace("/usr/local/share/turso_vfs/hooks", str(ROOT / "extension" / "hooks"))
    if re.search(r"127\.0\.0\.1:8080|/usr/local/", text):
        raise AssertionError(f"a name in a recipe that a test cannot give a place to:\n{text}")
    return text
