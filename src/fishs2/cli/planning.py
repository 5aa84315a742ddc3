"""From settings to a runtime, the way every command does it: plan, engine, service."""

import sys

from fishs2.bootstrap.plan import Plan, follow_plan, plan_here
from fishs2.service.runtime import EngineChoice, Runtime, make_engine
from fishs2.settings import Settings, load_settings
from fishs2.settings_sources import read_sources


def read_settings(**flags: str | int | None) -> Settings:
    """The settings of a command that a person watches, who is told of files in old places."""
    settings = load_settings(**flags)
    for notice in read_sources().notices:
        print(f"fishs2: {notice}", file=sys.stderr)
    return settings


def describe_home(settings: Settings) -> str:
    """Where what the program keeps is, for people."""
    folders = {
        "data": settings.data_dir,
        "voices": settings.voices_dir,
        "logs": settings.logs_dir,
        "temp": settings.temp_dir,
    }
    elsewhere = [
        f"{name} in {folder}" for name, folder in folders.items() if folder != settings.home / name
    ]
    return ", ".join([str(settings.home), *elsewhere])


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
