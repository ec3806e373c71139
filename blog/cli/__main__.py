"`python -m blog.cli` is the `blog` command."

from blog.cli.commands import main

if __name__ == "__main__":
    main()
