"""A quiz that checks itself and gives the reason for each answer."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .._base import InputError, require

_PARTS = ("question", "options", "answer")


class Quiz:
    """A few questions with a reason for each answer. Made by `quiz`; a cell that ends in it shows it."""

    def __init__(self, questions: Sequence[Mapping[str, Any]]) -> None:
        from ._views import QuizView

        self.questions = [_checked(i, q) for i, q in enumerate(questions, start=1)]
        self._view = QuizView(
            questions=[_for_page(number, q) for number, q in zip(_numbers(self.questions), self.questions, strict=True)]
        )

    def __repr__(self) -> str:
        lines = []
        for number, q in zip(_numbers(self.questions), self.questions, strict=True):
            lines += [f"{number}{q['question']}", *(f"   ( ) {option}" for option in q["options"])]
        return "\n".join(lines)

    def _repr_mimebundle_(self, **_: Any) -> Any:
        from ._views import mimebundle

        html = "\n".join(
            f"<p><strong>{number}{escape(q['question'])}</strong></p>\n"
            f"<ul>{''.join(f'<li>{escape(option)}</li>' for option in q['options'])}</ul>"
            for number, q in zip(_numbers(self.questions), self.questions, strict=True)
        )
        return mimebundle(self._view, repr(self), html)


def quiz(questions: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Quiz:
    """Ask a few questions; each answer that is checked gets its reason, the right one too.

    Parameters
    ----------
    questions : dict or sequence of dict
        One question, or several, which are then numbered and counted. Each has ``"question"``,
        ``"options"`` (a dict that gives each option its reason) and ``"answer"`` (the right
        option). The options are shown in the order given.

    Returns
    -------
    Quiz
        A cell that ends in it shows it. Where no kernel runs it is a list, without answers.

    Raises
    ------
    InputError
        If a question lacks a part or a reason, or its answer is none of its options.
    MissingExtraError
        If anywidget is not installed.

    Examples
    --------
    >>> quiz({
    ...     "question": "What changes in the weights while a model answers?",
    ...     "options": {"Nothing": "They are only read.", "All of them, a little": "That is training."},
    ...     "answer": "Nothing",
    ... })
    What changes in the weights while a model answers?
       ( ) Nothing
       ( ) All of them, a little
    """
    require("anywidget", extra="notebooks")
    if not isinstance(questions, Mapping | list | tuple) or not questions:
        raise InputError(f"quiz: expected a question or a list of questions, got {questions!r}")
    return Quiz([questions] if isinstance(questions, Mapping) else questions)


def _numbers(questions: Sequence[Any]) -> list[str]:
    """Return what stands before each question: its number, if there are several."""
    return [f"{i}. " for i in range(1, len(questions) + 1)] if len(questions) > 1 else [""]


def _checked(number: int, question: Any) -> dict[str, Any]:
    """Return a question that has all its parts, or say what it lacks."""
    where = f"question {number}"
    if not isinstance(question, Mapping) or set(question) != set(_PARTS):
        got = f"the keys {', '.join(map(repr, question))}" if isinstance(question, Mapping) else repr(question)
        raise InputError(f"{where}: expected a dict with the keys 'question', 'options' and 'answer', got {got}")
    text, options, answer = (question[part] for part in _PARTS)
    if not isinstance(options, Mapping) or len(options) < 2:
        raise InputError(f"{where}: options: expected a dict of two or more, each with its reason, got {options!r}")
    if not _is_text(text) or not all(map(_is_text, options)):
        raise InputError(f"{where}: the question and each option must be a text that is not empty")
    for option, reason in options.items():
        if not _is_text(reason):
            raise InputError(f"{where}: option {option!r} has no reason; say why it is right or wrong")
    if not isinstance(answer, str) or answer not in options:
        raise InputError(f"{where}: answer: expected one of {', '.join(map(repr, options))}, got {answer!r}")
    return {"question": text, "options": dict(options), "answer": answer}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _for_page(number: str, question: Mapping[str, Any]) -> dict[str, Any]:
    """Return a question as the page takes it: the options as a list, to keep their order."""
    options = [
        {"text": option, "reason": reason, "right": option == question["answer"]}
        for option, reason in question["options"].items()
    ]
    return {"question": number + question["question"], "options": options}
