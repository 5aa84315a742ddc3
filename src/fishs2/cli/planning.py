"""From settings to a runtime, the way every command does it: plan, engine, service."""

from fishs2.bootstrap.plan import Plan, follow_plan, plan_here
from fishs2.service.runtime import EngineChoice, Runtime, make_engine
from fishs2.settings import Settings


def plan_runtime(settings: Settings, plan: Plan | None = None) -> Runtime:
    """Return a runtime that is not yet started. plan: None decides for this machine."""
    plan = plan or plan_here(settings)
    planned = follow_plan(settings, plan)
    return Runtime(planned, EngineChoice(make_engine(planned), describe_plan(plan)))


def describe_plan(plan: Plan) -> str:
    """Why this engine, which model, and what else could be had; for people."""
    parts = [plan.reason]
    if plan.engine in ("s2", "s2cpp"):
        parts.append(f"{plan.quant}: {plan.quant_reason}")
    if plan.hint:
        parts.append(plan.hint)
    return "; ".join(parts)
