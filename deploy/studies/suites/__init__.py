"""Suites of published networks on analog chips: what they are, what is measured of each, and the table of all."""

from analognets.deploy.studies.suites.run import benchmark
from analognets.deploy.studies.suites.suite import Member, Published, Suite, find_suite, list_suites, register_suite

__all__ = ["Member", "Published", "Suite", "benchmark", "find_suite", "list_suites", "register_suite"]
