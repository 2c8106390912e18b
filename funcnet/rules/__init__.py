"""How a derivative rule is stated, attached to JAX, and checked."""

from funcnet.rules.check import check_rule
from funcnet.rules.findings import Check, RuleReport
from funcnet.rules.primitive import LinearMap, apply_linear_map, linear_map_p, rule_p
from funcnet.rules.statement import Rule, rule

__all__ = [
    "Check",
    "LinearMap",
    "Rule",
    "RuleReport",
    "apply_linear_map",
    "check_rule",
    "linear_map_p",
    "rule",
    "rule_p",
]
