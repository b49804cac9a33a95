"""Pages in HTML as tests read them."""

from html.parser import HTMLParser

VOID = {"br", "input", "link", "meta"}
"""Elements that are never closed."""


class Page(HTMLParser):
    """Elements, texts and scripts of a page; complains about elements closed out of order.

    Attributes:
        elements: Tag and attributes of each element.
        scripts: The contents of each script.
    """

    def __init__(self, source):
        super().__init__()
        self.elements, self.scripts = [], []
        self._open, self._texts = [], []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] == "script":
            self.scripts.append(data)
        elif "style" not in self._open:
            self._texts.append(data)

    @property
    def text(self):
        """What is read, with single spaces."""
        return " ".join(" ".join(self._texts).split())

    def attributes(self, name):
        """The attribute's value in each element that has it."""
        return [attributes[name] for _, attributes in self.elements if name in attributes]
