"""Write the bill of materials of a wheel: CycloneDX 1.6, with what it was tested with.

    python distribution/sbom.py WHEEL FILE

Name, version, licence and requirements are those of the wheel; the versions of what it requires are those of the
running environment, which is the one that ran the tests. What a wheel from PyPI has inside (OpenSSL in cryptography,
libzmq in pyzmq) is of those projects and in their bills. The same wheel and environment give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import uuid
import zipfile
from datetime import UTC, datetime
from email.message import Message
from email.parser import Parser
from importlib import metadata
from pathlib import Path
from typing import Any

from dist import epoch

_EXTRA = re.compile(r"extra\s*==\s*[\"']([^\"']+)[\"']")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
FILE = "tlsrt.cdx.json"  # what it is called in an sdist and in a package of Debian
_SHIPPED = ("", "http")  # requirements that are always installed, and those of the extra that an operator takes


def bill(wheel: Path) -> dict[str, Any]:
    """Return the document."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        about = Parser().parsestr(archive.read(name).decode())
    subject = _component(about, "application", hashes=[{"alg": "SHA-256", "content": digest}])
    graph, found = {subject["bom-ref"]: set[str]()}, dict[str, dict[str, Any]]()
    waiting = [(subject["bom-ref"], line, True) for line in about.get_all("Requires-Dist", [])]
    while waiting:
        parent, line, is_ours = waiting.pop(0)
        extra = _EXTRA.search(line)
        required = _NAME.match(line)
        if required is None or (extra and not (is_ours and extra[1] in _SHIPPED)):
            continue
        try:
            one = metadata.distribution(required[0])
        except metadata.PackageNotFoundError:
            if is_ours:
                sys.exit(f"cannot say what was tested: {required[0]} is not installed here")
            continue  # of another system or version of Python, by its marker
        described = _component(one.metadata, "library")  # type: ignore[arg-type]
        ref = described["bom-ref"]
        graph[parent].add(ref)
        if ref not in found:
            found[ref] = {**described, "scope": "optional" if extra else "required"}
            graph[ref] = set()
            waiting += [(ref, each, False) for each in one.requires or []]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{digest} {sorted(found)}')}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch(), UTC).isoformat(),
            "lifecycles": [{"phase": "build"}],
            "component": subject,
        },
        "components": [found[ref] for ref in sorted(found)],
        "dependencies": [{"ref": ref, "dependsOn": sorted(graph[ref])} for ref in sorted(graph)],
    }


def text_of(wheel: Path) -> str:
    """Return the document as it is written."""
    return json.dumps(bill(wheel), indent=2) + "\n"


def _component(about: Message, kind: str, **more: object) -> dict[str, Any]:
    name, version = str(about["Name"]), str(about["Version"])
    ref = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version}"
    licence = about["License-Expression"]
    licences: list[dict[str, Any]] = [{"expression": licence}] if licence else []
    if not licence and (said := (about["License"] or "").splitlines()[:1]):
        licences = [{"license": {"name": said[0]}}]
    found = {"type": kind, "bom-ref": ref, "name": name, "version": version, "purl": ref, **more}
    return {**found, "licenses": licences} if licences else found


if __name__ == "__main__":
    wheel, place = map(Path, sys.argv[1:])
    place.write_text(text_of(wheel))
    print(place)
