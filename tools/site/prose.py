"""Makes pages of the site of documents: lists as Python-Markdown reads them, links that lead somewhere on the site."""

import re
from collections.abc import Callable, Iterator
from posixpath import join, normpath


def parts(markdown: str) -> Iterator[tuple[str, bool]]:
    """Prose and blocks of code, in order, and whether each is code."""
    for number, part in enumerate(re.split(r"(^```.*?^```$\n?)", markdown, flags=re.DOTALL | re.MULTILINE)):
        yield part, number % 2 == 1


def for_the_site(
    markdown: str, folder: str, is_on_site: Callable[[str], bool], is_there: Callable[[str], bool]
) -> str:
    """A page of the site.

    Args:
        markdown: The page as it is kept.
        folder: Where it lies in the repository.
        is_on_site: Whether the site has a file, by its path in the repository.
        is_there: Whether the repository has it.
    """
    return "".join(
        part if is_code else separate_lists(follow_links(part, folder, is_on_site, is_there))
        for part, is_code in parts(markdown)
    )


def follow_links(
    prose: str, folder: str, is_on_site: Callable[[str], bool], is_there: Callable[[str], bool]
) -> str:
    """Links to notebooks lead to their pages; words whose link leads to a source file lose it.

    A link to what is nowhere stays: the strict build refuses it.
    """

    def follow(link: re.Match[str]) -> str:
        words, target = link["words"], link["target"]
        path, _, anchor = target.partition("#")
        uri = normpath(join(folder, path))
        if not path or is_on_site(uri) or not is_there(uri):
            return link[0]
        if path.endswith(".ipynb"):
            return f"[{words}]({path.removesuffix('.ipynb')}.md{anchor and f'#{anchor}'})"
        return words

    return re.sub(r"(?<!!)\[(?P<words>[^\]]*)\]\((?P<target>[^)\s:]+)\)", follow, prose)


def separate_lists(prose: str) -> str:
    """Puts an empty line before each list, without which Python-Markdown takes it for text."""
    item = r"(?:[-*]|\d+\.) "
    return re.sub(rf"^((?!\s|{item}|\||#).+\n)(?={item})", r"\1\n", prose, flags=re.MULTILINE)
