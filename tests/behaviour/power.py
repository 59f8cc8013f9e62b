"""What a power cut leaves on a disk, put together from a record of libturso_faults.so (tests/support/faults/plan.h).

A file's bytes are on the disk once it was synced, its name once its directory was. Before that, each may be there or
not: an fdatasync keeps bytes and size, and the time of the last change only if the size changed. A file system may also
write sooner than it must, in any order; so one cut has many outcomes, each a dictionary of paths and Images.

    disk = Disk("/where/the/files/were")
    for event in events(record):
        for name, files in disk.outcomes(): ...     # a cut just before this event
        disk.take(event)
"""

import collections
import os

SECTOR = 512
Event = collections.namedtuple("Event", "kind path inode numbers data text")
Image = collections.namedtuple("Image", "data size time attributes")  # Data without the zeros at its end.
# What changes what a power cut would leave.
CHANGES = frozenset(
    ["create", "write", "size", "grow", "fsync", "fdatasync", "rename", "link", "unlink", "attribute"]
)


def events(record):
    """The events of a record, which is bytes. Marks are of kind "mark", points of kind "at"."""
    at, found = 0, []
    while at < len(record):
        end = record.index(b"\n", at)
        kind, _, rest = record[at:end].decode().partition(" ")
        at = end + 1
        data = None
        if kind == "write":
            inode, offset, length, path = rest.split(" ", 3)
            data = record[at : at + int(length)]
            at += int(length) + 1
            found.append(Event(kind, path, inode, (int(offset), int(length)), data, None))
        elif kind in ("size", "grow"):
            inode, size, path = rest.split(" ", 2)
            found.append(Event(kind, path, inode, (int(size),), None, None))
        elif kind in ("create", "fsync", "fdatasync"):
            inode, path = rest.split(" ", 1)
            found.append(Event(kind, path, inode, (), None, None))
        elif kind == "time":
            inode, time = rest.split(" ")
            found.append(Event(kind, "", inode, (int(time),), None, None))
        elif kind == "attribute":
            inode, name, value, path = rest.split(" ", 3)
            found.append(Event(kind, path, inode, (), bytes.fromhex(value), name))
        elif kind in ("rename", "link"):
            source, target = rest.split("\t")
            found.append(Event(kind, source, None, (), None, target))
        elif kind == "unlink":
            found.append(Event(kind, rest, None, (), None, None))
        else:
            found.append(Event(kind, "", None, (), None, rest))
    return found


class File:
    """A file's bytes as they surely are on the disk, and what was done since."""

    def __init__(self, data=b"", time=0, attributes=()):
        self.synced = image_of(data, time, attributes)
        self.pending = []  # Events that change bytes or size.
        self.data = bytearray(data)
        self.time = time
        self.attributes = dict(attributes)
        self.seen = self.synced  # The newest image, if nothing has changed since.

    def take(self, event):
        self.pending.append(event)
        apply(self.data, event)
        self.seen = None

    def set_time(self, time):
        self.time = time
        self.seen = None

    def set_attribute(self, name, value):
        self.attributes[name] = value
        self.seen = None

    def volatile(self):
        if self.seen is None:
            self.seen = image_of(self.data, self.time, self.attributes)
        return self.seen

    def with_only(self, done, torn=None):
        """With the events `done` of those pending; of `torn` only half."""
        data = bytearray(self.synced.data)
        data.extend(bytes(self.synced.size - len(data)))
        for event in done:
            apply(data, event, half=event is torn)
        return image_of(data, self.time, self.attributes)

    def dirty(self):
        return bool(self.pending) or self.volatile() != self.synced

    def sync(self, whole):
        newest = self.volatile()
        if not whole and newest.size == self.synced.size:
            newest = newest._replace(time=self.synced.time, attributes=self.synced.attributes)
        self.synced = newest
        self.pending = []


def image_of(data, time, attributes):
    return Image(bytes(data.rstrip(b"\0")), len(data), time, dict(attributes))


def apply(data, event, half=False):
    if event.kind == "write":
        offset, length = event.numbers
        if half:
            length = length // 2 // SECTOR * SECTOR
        end = offset + length
        data.extend(bytes(max(0, end - len(data))))
        data[offset:end] = event.data[:length]
    elif event.kind == "grow":
        data.extend(bytes(max(0, event.numbers[0] - len(data))))
    else:
        data.extend(bytes(max(0, event.numbers[0] - len(data))))
        del data[event.numbers[0] :]


class Disk:
    """The files below one directory, and the outcomes of a cut now."""

    def __init__(self, root):
        """What is there now is taken to be on the disk."""
        self.root = str(root)
        self.names = {}
        self.synced_names = {}
        self.renamings = []  # Changes of names since the last sync of a directory: (path, file or None), together.
        self.files = {}
        for directory, _, names in os.walk(root):
            for name in names:
                self.find(os.path.join(directory, name))

    def find(self, path):
        with open(path, "rb") as file:
            data = file.read()
        status = os.stat(path)
        attributes = {a: os.getxattr(path, a) for a in os.listxattr(path) if a.startswith("user.")}
        file = File(data, status.st_mtime_ns, attributes)
        self.names[path] = self.synced_names[path] = self.files[str(status.st_ino)] = file

    def below(self, path):
        return path.startswith(self.root + "/") or path == self.root

    def take(self, event):
        """True if it changed something here."""
        if event.kind == "time":
            if event.inode in self.files:
                self.files[event.inode].set_time(event.numbers[0])
            return False
        if event.kind not in CHANGES or not self.below(event.path):
            return False
        if event.kind in ("fsync", "fdatasync") and event.inode not in self.files:
            self.sync_names(event.path)
        elif event.kind in ("create", "rename", "link", "unlink"):
            self.take_names(event)
        else:
            self.take_bytes(event)
        return True

    def take_bytes(self, event):
        file = self.files[event.inode]
        if event.kind in ("write", "size", "grow"):
            file.take(event)
        elif event.kind == "attribute":
            file.set_attribute(event.text, event.data)
        else:
            file.sync(whole=event.kind == "fsync")

    def take_names(self, event):
        change = []
        if event.kind == "create":
            self.files[event.inode] = File()
            change.append((event.path, self.files[event.inode]))
        elif event.kind == "unlink":
            change.append((event.path, None))
        else:
            change.append((event.text, self.names.get(event.path)))
            if event.kind == "rename":
                change.append((event.path, None))
        self.renamings.append(change)
        self.names = with_changes(self.names, [change])

    def sync_names(self, directory):
        here, elsewhere = [], []
        for change in self.renamings:
            inside = all(os.path.dirname(path) == directory for path, _ in change)
            (here if inside else elsewhere).append(change)
        if elsewhere and here:
            # A file that is linked from another directory: what is in this one is on the disk.
            here += [[one for one in change if os.path.dirname(one[0]) == directory] for change in elsewhere]
        self.synced_names = with_changes(self.synced_names, here)
        self.renamings = elsewhere

    # --- Outcomes.

    def kept(self):
        """As it is without a cut."""
        return {path: file.volatile() for path, file in self.names.items()}

    def outcomes(self, every=False):
        """Pairs of a name and the files; one may come under two names. With `every`, of each write on its own too."""
        yield "nothing unsynced kept", {p: f.synced for p, f in self.synced_names.items()}
        yield "all kept", self.kept()
        if self.renamings:
            yield "names kept", {p: f.synced for p, f in self.names.items()}
            yield "names lost", {p: f.volatile() for p, f in self.synced_names.items()}
        for number in range(1, len(self.renamings) if every else 0):
            names = with_changes(self.synced_names, self.renamings[:number])
            yield f"{number} changes of names kept", {p: f.synced for p, f in names.items()}
            yield f"{number} changes of names, all bytes kept", {p: f.volatile() for p, f in names.items()}
        dirty = {id(f): p for p, f in self.names.items() if f.dirty()}
        for file, path in dirty.items():
            short = path[len(self.root) + 1 :]
            if len(dirty) > 1:
                yield f"{short} kept", self.mixed(lambda f, file=file: f.volatile() if id(f) == file else f.synced)
                yield f"{short} lost", self.mixed(lambda f, file=file: f.synced if id(f) == file else f.volatile())
            yield from self.torn(file, short, every)

    def torn(self, file, short, every):
        pending = next(f for f in self.names.values() if id(f) == file).pending
        if not pending:
            return
        last = pending[-1]
        if last.kind == "write" and last.numbers[1] > SECTOR:
            for others in ("kept", "lost") if every else ("kept",):
                yield f"{short} torn, others {others}", self.with_one(file, pending, last, others)
        if len(pending) > 1:
            # The file system wrote the last one first.
            yield f"{short} out of order", self.with_one(file, pending[-1:], None, "kept")
        if not every:
            return
        for number in range(1, len(pending)):
            yield f"{short} without write {number}", self.with_one(
                file, pending[: number - 1] + pending[number:], None, "kept"
            )
            yield f"{short} only {number} writes", self.with_one(file, pending[:number], None, "lost")

    def with_one(self, file, done, torn, others):
        def image(f):
            if id(f) == file:
                return f.with_only(done, torn)
            return f.volatile() if others == "kept" else f.synced

        return self.mixed(image)

    def mixed(self, image):
        return {path: image(file) for path, file in self.names.items()}


def with_changes(names, changes):
    names = dict(names)
    for change in changes:
        for path, file in change:
            if file is None:
                names.pop(path, None)
            else:
                names[path] = file
    return names


def write_out(root, files):
    """Makes the directory `root`, which is empty, what `files` says of it."""
    for path, image in files.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb", buffering=0) as out:
            out.write(image.data)
            out.truncate(image.size)
        for name, value in image.attributes.items():
            os.setxattr(path, name, value)
        os.utime(path, ns=(image.time, image.time))
