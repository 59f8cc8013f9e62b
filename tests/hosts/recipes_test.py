"""The pages of extension/recipes are complete: each is listed, and run by a test of a host."""

import pathlib
import re
import unittest

import recipes

HERE = pathlib.Path(__file__).resolve().parent


class Pages(unittest.TestCase):
    def setUp(self):
        self.pages = {page.stem for page in recipes.PAGES.glob("*.md")} - {"README"}

    def test_the_index_lists_every_page_and_no_other(self):
        index = (recipes.PAGES / "README.md").read_text("utf-8")
        self.assertEqual(set(re.findall(r"\]\(([\w-]+)\.md\)", index)), self.pages)

    def test_every_page_is_run_by_a_test(self):
        tests = "".join(test.read_text("utf-8") for test in HERE.glob("*_test.py"))
        self.assertEqual(set(re.findall(r'run_recipe\(\s*"([\w-]+)"', tests)), self.pages)

    def test_every_page_has_code_that_is_run(self):
        for page in sorted(self.pages):
            self.assertTrue(any(block.runs for block in recipes.blocks(page)), page)


if __name__ == "__main__":
    unittest.main(verbosity=2)
