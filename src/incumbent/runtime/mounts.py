"""What a directory is mounted from: some file systems are shared by hosts, and the locks of this one mean nothing there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from incumbent.errors import InvalidInput

MOUNTINFO: Final = Path("/proc/self/mountinfo")
NETWORK_FILE_SYSTEMS: Final = frozenset(
    {
        *(
            "9p",
            "afs",
            "beegfs",
            "ceph",
            "cifs",
            "coda",
            "gfs2",
            "glusterfs",
            "gpfs",
            "lustre",
            "ncpfs",
            "nfs",
        ),
        *("nfs4", "ocfs2", "orangefs", "pvfs2", "smb2", "smb3", "smbfs", "virtiofs"),
        *("fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"),
    }
)
_OCTAL: Final = re.compile(r"\\([0-7]{3})")  # how mountinfo writes spaces


def refuse_network_file_system(field: str, directory: Path, mountinfo: Path = MOUNTINFO) -> None:
    """P50: locks and shared memory hold on one host only, and so do boot ids and pids. Raises InvalidInput."""
    kind = kind_of(directory, mountinfo)
    if kind in NETWORK_FILE_SYSTEMS:
        raise InvalidInput(
            field, f"{directory} is on a network file system ({kind})", "name a directory on a local disk"
        )


def kind_of(directory: Path, mountinfo: Path = MOUNTINFO) -> str:
    """The kind of file system that a directory is on; "" where the platform does not tell."""
    try:
        text = mountinfo.read_text(errors="surrogateescape")
    except OSError:
        return ""  # no /proc: the locks themselves are what there is
    kind, depth = "", -1
    for line in text.splitlines():
        mount, _, rest = line.partition(" - ")
        point = Path(_OCTAL.sub(lambda octal: chr(int(octal[1], 8)), mount.split(" ")[4]))
        if directory.is_relative_to(point) and len(point.parts) >= depth:
            kind, depth = rest.split(" ")[0], len(point.parts)
    return kind
