"""Writes the tables of parameters and outputs in docs/deploy/parameters.md from the templates, or says that they are out of date.

Arguments: the page, the directory of the templates, and optionally `--write`. A table stands between `<!-- NAME.yaml -->` and `<!-- end -->`.
"""

import re
import sys
from pathlib import Path

from cfnlint.decode import decode


def cell(text: object) -> str:
    return str(text).strip().replace("|", "\\|")


def tables(path: Path) -> str:
    template, problems = decode(str(path))
    if problems:
        sys.exit(f"{path} cannot be read")
    lines = ["| parameter | default | meaning |", "| --- | --- | --- |"]
    for name, parameter in template["Parameters"].items():
        default = f"`{parameter['Default']}`" if parameter.get("Default", "") != "" else ""
        if "Default" not in parameter:
            default = "**needed**"
        meaning = cell(parameter["Description"])
        if "AllowedValues" in parameter:
            values = [f"`{value}`" for value in parameter["AllowedValues"] if value != ""]
            meaning += f" {', '.join(values)}."
        lines.append(f"| `{name}` | {default} | {meaning} |")
    lines += ["", "| output | meaning |", "| --- | --- |"]
    for name, output in template["Outputs"].items():
        lines.append(f"| `{name}` | {cell(output['Description'])} |")
    return "\n".join(lines)


page, templates = Path(sys.argv[1]), Path(sys.argv[2])
text = page.read_text(encoding="utf-8")
names = re.findall(r"<!-- (\S+\.yaml) -->", text)
there = sorted(one.name for one in templates.glob("*.yaml"))
if sorted(names) != there:
    sys.exit(f"{page} has tables of {names}, and there are {there}")
made = text
for name in names:
    table = tables(templates / name)
    made = re.sub(
        rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)",
        lambda found, table=table: f"{found[1]}{table}\n{found[2]}",
        made,
        flags=re.DOTALL,
    )
if "--write" in sys.argv:
    page.write_text(made, encoding="utf-8")
elif made != text:
    sys.exit(f"the tables in {page} are out of date: tests/system/templates/check --write")
