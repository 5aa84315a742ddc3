@echo off
rem Start the server on Windows: makes .venv on the first run, reuses it afterwards.
rem All arguments go to run.py; "run.bat --help" lists them.
setlocal
cd /d "%~dp0"
set "PIP_CACHE_DIR=%CD%\.cache\pip"
set "XDG_CACHE_HOME=%CD%\.cache"
set "TMP=%CD%\.tmp"
set "TEMP=%CD%\.tmp"
set "PIP_DISABLE_PIP_VERSION_CHECK=1"
if not exist "%TMP%" mkdir "%TMP%"
set "PYTHON=.venv\Scripts\python.exe"

if exist "%PYTHON%" goto :have_environment
set "BASE="
for %%V in (3.14 3.13 3.12 3.11) do (
    if not defined BASE py -%%V -c "" >nul 2>&1 && set "BASE=py -%%V"
)
if not defined BASE (
    python -c "import sys; sys.exit(sys.version_info < (3, 11))" >nul 2>&1 && set "BASE=python"
)
if not defined BASE (
    echo fishs2 needs Python 3.11 or newer; install it and run this again.
    exit /b 1
)
echo Making the environment in .venv ^(once, about a minute^) ...
%BASE% -m venv .venv || exit /b 1

:have_environment
rem The stamp is a copy of what the environment was made from: equal files, nothing to install.
fc /b pyproject.toml .venv\fishs2-pyproject.toml >nul 2>&1 || goto :install
fc /b constraints.txt .venv\fishs2-constraints.txt >nul 2>&1 || goto :install
goto :start

:install
"%PYTHON%" -m pip install --quiet --constraint constraints.txt --editable . || exit /b 1
copy /y pyproject.toml .venv\fishs2-pyproject.toml >nul
copy /y constraints.txt .venv\fishs2-constraints.txt >nul

:start
"%PYTHON%" run.py %*
