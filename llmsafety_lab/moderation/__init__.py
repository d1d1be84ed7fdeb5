"""Moderation."""

from llmsafety_lab.moderation.capitals import Question, capital_questions, names_in, plain
from llmsafety_lab.moderation.chat import Reply, replies, written, yes_minus_no
from llmsafety_lab.moderation.retrieval import Cited, Index, citation_scores, retrieve, words_of
