"""The examples of docs/export.md are what the code writes."""

from tests.docs.export_examples import PAGE, with_examples


def test_the_page_shows_what_is_written_today():
    page = PAGE.read_text("utf-8")
    assert page == with_examples(page)
