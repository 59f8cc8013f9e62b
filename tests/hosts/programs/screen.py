# What is on the screen, into a file, and what is on the clipboard, to stdout: python3 screen.py FILE.png
import sys

from PyQt5.QtWidgets import QApplication

application = QApplication(sys.argv)
application.primaryScreen().grabWindow(0).save(sys.argv[1])
sys.stdout.buffer.write(application.clipboard().text().encode())
