"""Python's own sqlite3 module on a replica."""

from host import PYTHON, HostTest, main


class DebiansPython(HostTest):
    host = "Python sqlite3"
    way_in = "URI"

    @classmethod
    def version(cls):
        return cls.output([PYTHON, "-c", "import platform; print(platform.python_version())"])

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.assertEqual(self.run_recipe("python-sqlite3", app), ["[('from Python',)]\n"])
        self.assertEqual(app.rows("SELECT * FROM note"), [[1, "from Python"]])
        app.assert_replica()


if __name__ == "__main__":
    main()
