"""Compiles and runs a program of a recipe, with the packages that the programs of these tests are pinned to.

usage: run_recipe_program.py go|rust FILE
"""

import pathlib
import shutil
import subprocess
import sys

import packages

PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"


def build_go(source, place):
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(PROGRAMS / "go" / name, place / name)
    shutil.copyfile(source, place / "main.go")
    packages.run(["go", "build", "-tags", "libsqlite3", "-o", "recipe", "."], cwd=place)
    return place / "recipe"


def build_rust(source, place):
    (place / "src").mkdir()
    shutil.copyfile(source, place / "src" / "main.rs")
    for name in ("Cargo.toml", "Cargo.lock"):
        text = (PROGRAMS / "rust" / name).read_text("utf-8")
        (place / name).write_text(text.replace('name = "hosts"', 'name = "recipe"'), "utf-8")
    # The crates that the tests' own program is made with are there already.
    compiled = packages.HOSTS / "rust-system"
    packages.run(["cargo", "build", "--quiet", "--locked", "--target-dir", compiled], cwd=place)
    return compiled / "debug" / "recipe"


def main():
    language, source = sys.argv[1:]
    place = pathlib.Path(f"{source}.program")
    place.mkdir()
    program = {"go": build_go, "rust": build_rust}[language](source, place)
    sys.exit(subprocess.run([str(program)], check=False).returncode)


if __name__ == "__main__":
    main()
