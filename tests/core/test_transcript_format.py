"""The interpreter of transcripts: syntax, printed forms, and that it detects differences."""

from pathlib import Path

import pytest

from tests.transcripts.__main__ import main
from tests.transcripts.golang import quoted
from tests.transcripts.output import Output
from tests.transcripts.parser import Argument, Directive, SyntaxFault, parse
from tests.transcripts.runner import first_difference


def only(text: str) -> Directive:
    (directive,) = parse(text)
    return directive


def test_a_directive_has_arguments_input_and_expected_answer():
    directive = only("# why\n\ncmd 1 a=b c=(d, e,f) g= h\nin 1\n\nin 2\n----\nout\n\n")
    assert directive.line == 3
    assert directive.arguments == (
        Argument("1"),
        Argument("a", ("b",)),
        Argument("c", ("d", "e", "f")),
        Argument("g", ("",)),
        Argument("h"),
    )
    assert directive.input == "in 1\n\nin 2"
    assert directive.expected == "out\n"


def test_a_line_that_ends_in_a_backslash_goes_on():
    assert only("cmd a=(1, \\\n   2) \\\n  b\n----\nok\n").arguments == (
        Argument("a", ("1", "2")),
        Argument("b"),
    )


def test_parentheses_nest_in_a_list_of_values():
    assert only("cmd a=(x(1,2), y)\n----\nok\n").values("a") == ("x(1,2)", "y")


def test_a_list_that_is_never_closed_is_a_fault():
    with pytest.raises(SyntaxFault):
        only("cmd a=(1, 2\n----\nok\n")


def test_between_double_separators_an_answer_may_have_blank_lines():
    first, second = parse("one\n----\n----\na\n\n----\nb\n----\n----\n\ntwo\n----\nok\n")
    assert first.expected == "a\n\n----\nb\n"
    assert second.command == "two"


def test_log_lines_are_dropped_and_an_empty_rest_prints_ok():
    assert only("cmd\n----\nINFO x\n  DEBUG y\n").expected == "ok\n"
    assert only("cmd\n----\n> 1\n  WARN x\n  INFORMATION\n").expected == "> 1\n  INFORMATION\n"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", '"plain"'),
        (b'"\\\n\t\x00\x7f', r'"\"\\\n\t\x00\x7f"'),
        ("käse ∞".encode(), '"käse ∞"'),
        (b"\xff\xe2\x82", r'"\xff\xe2\x82"'),
        ("\u2028\U000e0001".encode(), r'"\u2028\U000e0001"'),
    ],
)
def test_bytes_are_quoted_as_go_quotes_them(raw: bytes, text: str):
    assert quoted(raw) == text


def test_indented_output_gets_two_blanks_and_a_last_newline():
    output = Output()
    with output.indented():
        output.write("a\n\nb")
    assert output.take() == "  a\n  \n  b\n"


def test_a_wrong_answer_is_found_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "good.txt").write_text("vote cfg=(1) votes=(y)\n----\nVoteWon\n")
    bad = tmp_path / "deep" / "bad.txt"
    bad.parent.mkdir()
    bad.write_text("# why\nvote cfg=(1) votes=(y)\n----\nVoteLost\n")
    difference = first_difference(bad)
    assert difference is not None
    assert (difference.directive.line, difference.answer) == (2, "VoteWon\n")
    assert main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert f"{bad}:2: vote" in printed
    assert printed.endswith("1 passed, 1 failed\n")


def test_a_core_that_breaks_fails_its_own_file_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "a.txt").write_text("campaign 7\n----\nok\n")
    (tmp_path / "b.txt").write_text("vote\n----\nVoteWon\n")
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.endswith("1 passed, 1 failed\n")
