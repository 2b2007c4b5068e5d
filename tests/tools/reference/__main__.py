"""Write every generated page of docs/reference: `make docs-reference`."""

from __future__ import annotations

from tools.reference.pages import PAGES, document, path_of


def main() -> None:
    for name in PAGES:
        path = path_of(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = document(name)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
