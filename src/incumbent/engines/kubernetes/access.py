"""How the API server is reached, and with which credentials: those of the pod, or of a kubeconfig.

Credentials are read from their files when they are used, and read again: the kubelet rotates a pod's token.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import ssl
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from incumbent.errors import EngineUnavailable, InvalidInput

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_READ_AGAIN_S: Final = 10.0
KUBECONFIG_BYTES_MAX: Final = 1024 * 1024
NAMESPACE_DEFAULT: Final = "default"


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Which API server and namespace, without any secret."""

    kubeconfig: str  # a path; "" = the pod's own
    context: str  # "" = the current one
    namespace: str


@dataclass
class Access:
    """One API server, ready to be asked."""

    host: str
    port: int
    prefix: str  # of every path; usually empty
    tls: ssl.SSLContext | None
    server_name: str
    namespace: str
    token_file: Path | None = None
    static_token: str = field(default="", repr=False)
    _token: str = field(default="", init=False, repr=False)
    _read_at_s: float = field(default=float("-inf"), init=False)

    def token(self, *, afresh: bool = False) -> str:
        """The bearer token; "" when a client certificate does it. Raises EngineUnavailable when its file cannot be read."""
        if self.token_file is None:
            return self.static_token
        if afresh or time.monotonic() - self._read_at_s > TOKEN_READ_AGAIN_S:
            try:
                self._token = self.token_file.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise EngineUnavailable(
                    f"the token file {self.token_file} cannot be read: {error}"
                ) from error
            self._read_at_s = time.monotonic()
        return self._token


def find_place(kubeconfig: str, context: str, namespace: str) -> Place:
    """Where to look, when the URL leaves it open: the pod's own, then KUBECONFIG, then ~/.kube/config.

    Raises InvalidInput when there is nothing.
    """
    if not kubeconfig and os.environ.get("KUBERNETES_SERVICE_HOST") and not context:
        return Place("", "", namespace)
    path = Path(kubeconfig or os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
    if not path.is_file():
        raise InvalidInput(
            "kubeconfig", f"{path} is no file, and this is no pod", "name one: ?kubeconfig=/path"
        )
    return Place(str(path.absolute()), context, namespace)


def open_access(place: Place) -> Access:
    """Read what `place` names. Raises InvalidInput for what cannot be read or is not supported."""
    return _from_kubeconfig(place) if place.kubeconfig else _from_pod(place)


def _from_pod(place: Place) -> Access:
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    port = (
        os.environ.get("KUBERNETES_SERVICE_PORT_HTTPS") or os.environ.get("KUBERNETES_SERVICE_PORT") or "443"
    )
    if not host or not port.isdecimal():
        raise InvalidInput("url", "this process runs in no pod", "name a kubeconfig: ?kubeconfig=/path")
    authorities = SERVICE_ACCOUNT / "ca.crt"
    try:
        tls = ssl.create_default_context(cafile=str(authorities))
        own = (SERVICE_ACCOUNT / "namespace").read_text().strip()
    except OSError as error:
        raise InvalidInput(
            "url",
            f"the pod's service account cannot be read: {error}",
            "mount its token (automountServiceAccountToken)",
        ) from error
    return Access(
        host, int(port), "", tls, host, place.namespace or own, token_file=SERVICE_ACCOUNT / "token"
    )


# --- kubeconfig -------------------------------------------------------------------------------------------------------


def _from_kubeconfig(place: Place) -> Access:
    path = Path(place.kubeconfig)
    config = _read_config(path)
    context_name = place.context or _text(config, "current-context")
    if not context_name:
        raise _bad("names no current-context", "add ?context=NAME")
    context = _named(config, "contexts", "context", context_name)
    cluster = _named(config, "clusters", "cluster", _text(context, "cluster"))
    user = _named(config, "users", "user", _text(context, "user")) if context.get("user") else {}
    _refuse_unsupported(cluster, user)
    server = urlsplit(_text(cluster, "server"))
    if server.scheme not in ("http", "https") or not server.hostname:
        raise _bad("has a cluster whose server is no http or https URL", "write https://host:port")
    encrypted = server.scheme == "https"
    token_file = _text(user, "tokenFile")
    return Access(
        server.hostname,
        server.port or (443 if encrypted else 80),
        server.path.rstrip("/"),
        _tls(path.parent, cluster, user) if encrypted else None,
        _text(cluster, "tls-server-name") or server.hostname,
        place.namespace or _text(context, "namespace") or NAMESPACE_DEFAULT,
        token_file=path.parent / token_file if token_file else None,
        static_token=_text(user, "token"),
    )


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > KUBECONFIG_BYTES_MAX:
            raise _bad("is larger than 1 MiB", "name a kubeconfig")
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(f"cannot be read: {error}", "name a kubeconfig") from error
    try:
        config = json.loads(text) if text.lstrip().startswith("{") else _read_yaml(text)
    except (ValueError, RecursionError) as error:
        raise _bad("is neither JSON nor YAML", "name a kubeconfig") from error
    if not isinstance(config, dict):
        raise _bad("holds no object", "name a kubeconfig")
    return config


def _read_yaml(text: str) -> object:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise _bad("is YAML, and PyYAML is not installed", "pip install 'incumbent[kubernetes]'") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError("no YAML") from error


def _refuse_unsupported(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> None:
    for what, fix in (
        ("exec", "run the plugin yourself and give its token by tokenFile, or use a service account"),
        ("auth-provider", "give a token by tokenFile, or use a service account"),
        ("username", "give a token by tokenFile: API servers take no passwords any more"),
        ("as", "use a service account of its own in place of impersonation"),
    ):
        if user.get(what):
            raise _bad(f"has a user with `{what}`, which is not supported", fix)
    if cluster.get("insecure-skip-tls-verify"):
        raise _bad(
            "has a cluster with `insecure-skip-tls-verify`, which is refused",
            "name its certificate-authority",
        )
    if cluster.get("proxy-url"):
        raise _bad(
            "has a cluster with `proxy-url`, which is not supported", "name a server that is reached directly"
        )


def _tls(base: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    try:
        inline = _decoded(cluster, "certificate-authority-data")
        authority = _text(cluster, "certificate-authority")
        tls = ssl.create_default_context(
            cafile=str(base / authority) if authority and not inline else None,
            cadata=inline.decode() if inline else None,
        )
        certificate, key = _text(user, "client-certificate"), _text(user, "client-key")
        certificate_data, key_data = (
            _decoded(user, f"client-{part}-data") for part in ("certificate", "key")
        )
        if certificate_data or key_data:
            with tempfile.NamedTemporaryFile() as pem:  # 0600; the library loads from files only
                pem.write(certificate_data + b"\n" + key_data)
                pem.flush()
                tls.load_cert_chain(pem.name)
        elif certificate:
            tls.load_cert_chain(base / certificate, base / key if key else None)
    except (OSError, ValueError) as error:  # a bad certificate is an OSError too
        raise _bad(f"has certificates that cannot be used: {error}", "mend them") from error
    return tls


def _decoded(part: Mapping[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(_text(part, name), validate=True)
    except binascii.Error as error:
        raise _bad(f"has a `{name}` that is no base64", "mend it") from error


def _named(config: Mapping[str, Any], listed: str, kind: str, name: str) -> Mapping[str, Any]:
    entries = config.get(listed)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(kind), dict):
            found: Mapping[str, Any] = entry[kind]
            return found
    raise _bad(f"has no {kind} named {name[:80]!r}", "name one that is there")


def _text(part: Mapping[str, Any], name: str) -> str:
    value = part.get(name) or ""
    if not isinstance(value, str):
        raise _bad(f"has a `{name}` that is no string", "mend it")
    return value


def _bad(problem: str, fix: str) -> InvalidInput:
    return InvalidInput("kubeconfig", f"the kubeconfig {problem}", fix)
