"""What was found as one page that opens anywhere: no network, no other file, light and dark, on paper too.

The pages are written from the documents that ``--json`` prints.  Every number of them on a page stands in
an element ``data`` that names its place in the document and holds its value, whole, beside the digits that
are shown.
"""

from proofs.page.pages import check_path, write_audit, write_check

__all__ = ["check_path", "write_audit", "write_check"]
