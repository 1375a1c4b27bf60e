"""What the site adds to the pages: the examples that they link to. Loaded by `mkdocs build` alone."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the examples beside the pages."""
    root = Path(config.docs_dir).parent
    for example in sorted((root / "examples").glob("*.py")):
        name = example.relative_to(root).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(example)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Links that leave the pages' directory, as they must where the repository is read, lead to those."""
    return markdown.replace("](../examples/", "](examples/")
