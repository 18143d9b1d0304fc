"""Certificates of a throwaway authority, as an operator would have them made."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import trustme

from incumbent.runtime.tls import TlsFiles


class Authority:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._path.mkdir(parents=True, exist_ok=True)
        self._made = 0
        self._ca = trustme.CA()
        self.file = path / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(self, *names: str, expired: bool = False, into: TlsFiles | None = None) -> TlsFiles:
        """A certificate for these DNS names, in new files or in those of another one."""
        self._made += 1
        files = into or TlsFiles(
            self._path / f"{self._made}.pem", self._path / f"{self._made}.key", self.file
        )
        yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        issued = self._ca.issue_cert(*names, not_after=yesterday if expired else None)
        issued.private_key_pem.write_to_path(str(files.key))
        first, *others = issued.cert_chain_pems
        first.write_to_path(str(files.certificate))
        for pem in others:
            pem.write_to_path(str(files.certificate), append=True)
        return files
