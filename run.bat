@echo off
rem Start the server on Windows. With pixi, one in bin\ or one named by --pixi-path, in its
rem environment; otherwise in .venv, which the first run makes. "run.bat --help" lists the arguments.
setlocal
cd /d "%~dp0"
set "PIXI=bin\pixi.exe"
set "ARGUMENTS=%*"

:next_argument
if "%~1"=="" goto :have_arguments
rem "--pixi-path=X" arrives as two arguments: cmd splits at the equals sign.
if /i "%~1"=="--pixi-path" (
    if "%~2"=="" (
        echo fishs2: --pixi-path needs a value
        exit /b 1
    )
    if not exist "%~2" (
        echo fishs2: --pixi-path %~2: there is no such file
        exit /b 1
    )
    set "PIXI=%~2"
    shift
)
shift
goto :next_argument

:have_arguments
if not exist "%PIXI%" goto :without_pixi
if not defined PIXI_CACHE_DIR set "PIXI_CACHE_DIR=%CD%\.pixi-cache"
if not defined RATTLER_CACHE_DIR set "RATTLER_CACHE_DIR=%CD%\.pixi-cache\rattler"
if not defined PIP_CACHE_DIR set "PIP_CACHE_DIR=%CD%\.pip-cache"
set "TMP=%CD%\.tmp"
set "TEMP=%CD%\.tmp"
if not exist "%TMP%" mkdir "%TMP%"
"%PIXI%" install --manifest-path pyproject.toml || exit /b 1
"%PIXI%" run --manifest-path pyproject.toml python run.py %ARGUMENTS%
exit /b %ERRORLEVEL%

:without_pixi
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
%BASE% run.py %ARGUMENTS%
exit /b %ERRORLEVEL%
