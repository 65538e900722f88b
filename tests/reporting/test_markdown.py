"""Names and notes are shown in Markdown as they are, and mean nothing to it."""

import pytest

from wemoe_pl.reporting.markdown import Markdown, as_markdown, fenced, grid, inline_code


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("adapt_on 5 %, λ = 0.3 (WEMoE)", "adapt_on 5 %, λ = 0.3 (WEMoE)"),
        ("-0.5", "-0.5"),
        ("C++", "C++"),
        ("![x](http://a/b.png)", r"!\[x\](http://a/b.png)"),
        ("<script>alert(1)</script>", r"\<script\>alert(1)\</script\>"),
        ("a | b", r"a \| b"),
        ("*a* _b_ __c__ ~~d~~", r"\*a\* \_b\_ \_\_c\_\_ \~\~d\~\~"),
        ("`rm`", r"\`rm\`"),
        ("a\\*b", r"a\\\*b"),
        ("&lt; AT&T &#60;", r"\&lt; AT&T \&#60;"),
        ("# no heading", r"\# no heading"),
        ("- no item", r"\- no item"),
        ("12. no item", r"\12. no item"),
        ("one\n\n# two\r\n| - |", r"one  # two \| - \|"),
        ("a\x1b[2Jb", "a\N{REPLACEMENT CHARACTER}\\[2Jb"),
        (7, "7"),
    ],
    ids=ascii,
)
def test_a_text_is_shown_as_it_is(text: object, written: str) -> None:
    assert as_markdown(text) == written
    assert as_markdown(as_markdown(text)) == written


@pytest.mark.parametrize("text", ["abc", "a`b", "``", "a```\n# b"])
def test_code_cannot_be_ended_by_what_is_in_it(text: str) -> None:
    written = inline_code(text)
    fence = written[: len(written) - len(written.lstrip("`"))]
    assert written.endswith(fence)
    assert fence not in written[len(fence) : -len(fence)]
    assert "\n" not in written


@pytest.mark.parametrize("text", ["a: 1\n", "a\n```\n# evil\n", "````\n`````"])
def test_lines_of_code_cannot_be_ended_by_what_is_in_them(text: str) -> None:
    first, *lines, last = fenced(text, "yaml").split("\n")
    assert first == f"{last}yaml"
    assert "\n".join(lines) == text.rstrip()
    assert last not in text


def test_a_table_has_a_cell_for_each_text() -> None:
    table = grid(["a|b", "mean"], [["x\ny", Markdown("**5**")], ["---", "*"]])
    assert table.splitlines() == [
        r"| a\|b | mean |", "| --- | ---: |", "| x y | **5** |", r"| \--- | \* |"
    ]  # fmt: skip
