"`python -m blog.cli` is the `blog` command."


def main() -> None:
    "Import the command and run it; Ctrl-C meanwhile is no traceback either."
    try:
        from blog.cli.commands import main as command
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    command()


if __name__ == "__main__":
    main()
