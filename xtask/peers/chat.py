"""Renders conversations with transformers and with our `chat` example, and compares.

usage: chat.py BINARY FOLDER...    every *.jinja in the folders; prints what differs, fails if anything does
"""

import json
import os
import pathlib
import subprocess
import sys
import time

os.environ["TZ"] = "UTC"
time.tzset()
from transformers.utils.chat_template_utils import render_jinja_template

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Says what the weather is \"now\", in <b>°C</b>.\nOne place at a time.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "A town's name"},
                "days": {"type": "integer", "minimum": 0, "maximum": 14, "default": 1},
                "factor": {"type": "number", "default": 1e-7, "maximum": 1e16},
                "unit": {"type": ["string", "null"], "enum": ["°C", "°F", None]},
            },
            "required": ["place"],
        },
    },
}


def call(arguments, identifier="abc123XYZ"):
    function = {"name": "weather", "arguments": arguments}
    return {"type": "function", "id": identifier, "function": function}


SYSTEM = {"role": "system", "content": "  You are brief.\n"}
USER = {"role": "user", "content": "Is it warm in Zürich?"}
ANSWER = {"role": "assistant", "content": "  It's \"mild\" <there>. 🐈\n"}
AGAIN = {"role": "user", "content": "And in\n\nRome? "}
THOUGHT = {"role": "assistant", "content": "<think>\nRome is south.\n</think>\n\nWarmer."}
REASONED = {"role": "assistant", "content": "Warmer.", "reasoning_content": "Rome is south."}
GIVEN = {"role": "tool", "content": "{\"degrees\": 21.5}", "name": "weather", "tool_call_id": "abc123XYZ"}
ARGUMENTS = {"place": "Rom'a\"", "days": 2, "exact": True, "note": None, "list": [1, 2.0, {"a": []}]}


def conversations():
    yield "user", [USER], None
    yield "system", [SYSTEM, USER], None
    yield "answered", [USER, ANSWER], None
    yield "turns", [SYSTEM, USER, ANSWER, AGAIN, ANSWER], None
    yield "asked again", [USER, ANSWER, AGAIN], None
    yield "thought", [USER, THOUGHT, AGAIN, THOUGHT], None
    yield "reasoned", [USER, REASONED, AGAIN, REASONED], None
    yield "tools", [SYSTEM, USER], [TOOL, TOOL]
    for name, arguments in [("object", ARGUMENTS), ("text", json.dumps(ARGUMENTS)), ("none", {})]:
        for content in ["", "Let me see.", None]:
            said = {"role": "assistant", "content": content, "tool_calls": [call(arguments)]}
            yield f"call {name} {content}", [USER, said, GIVEN, ANSWER], [TOOL]
    both = {"role": "assistant", "content": "", "tool_calls": [call(ARGUMENTS), call({"place": "Bern"})]}
    yield "two calls", [SYSTEM, USER, both, GIVEN, GIVEN, ANSWER, AGAIN], [TOOL]
    yield "parts", [{"role": "user", "content": [{"type": "text", "text": "One "}, {"type": "text", "text": "two"}]}], None
    yield "no answer", [SYSTEM], None
    yield "wrong order", [ANSWER, USER, USER], None


CONFIG = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "unk_token": "<unk>", "pad_token": None}
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
VARIABLES = [{}, {"enable_thinking": False}]


def theirs(source, messages, tools, variables, prompt):
    try:
        texts, spans = render_jinja_template(
            conversations=[json.loads(json.dumps(messages))], tools=tools, chat_template=source,
            add_generation_prompt=prompt, return_assistant_tokens_mask=not prompt, **SPECIAL, **variables)
    except Exception as e:  # a template's own refusal, or Python's of what it does
        return {"error": f"{type(e).__name__}: {e}"}
    spans = spans[0] if not prompt and spans and "generation" in source else None
    text = texts[0]
    if spans is not None:
        spans = [[len(text[:i].encode()) for i in span] for span in spans]
    return {"text": text, "generated": spans}


def main():
    binary, folders = sys.argv[1], sys.argv[2:]
    templates = sorted(path for folder in folders for path in pathlib.Path(folder).glob("*.jinja"))
    cases, expected = [], []
    for path in templates:
        source = path.read_text()
        for name, messages, tools in conversations():
            for variables in VARIABLES:
                for prompt in (False, True):
                    cases.append((path.name, name, variables, prompt, {
                        "source": source, "config": CONFIG, "messages": messages, "tools": tools or [],
                        "variables": variables, "prompt": prompt, "now": int(time.time())}))
                    expected.append(theirs(source, messages, tools, variables, prompt))
    lines = "\n".join(json.dumps(case[-1]) for case in cases)
    done = subprocess.run([binary], input=lines, capture_output=True, text=True, check=True)
    ours = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(ours) == len(cases), (len(ours), len(cases))
    same = refused = looser = blocks = 0
    differ = {}
    for (template, name, variables, prompt, _), wanted, found in zip(cases, expected, ours):
        if "error" in wanted and "error" in found:
            refused += 1
            continue
        if wanted.get("error", "").startswith("TypeError: 'NoneType'"):
            looser += 1  # Jinja in Rust takes nothing for an empty list
            continue
        marked = wanted.get("generated") is not None
        # Without blocks transformers has an empty list where we have nothing.
        alike = found.get("text") == wanted.get("text")
        alike = alike and (not marked or (found.get("generated") or []) == wanted["generated"])
        if alike:
            same, blocks = same + 1, blocks + (marked and bool(wanted["generated"]))
        else:
            differ.setdefault(template, []).append((name, variables, prompt, wanted, found))
    for template, cases_ in differ.items():
        name, variables, prompt, wanted, found = cases_[0]
        print(f"{template}: {len(cases_)} differ, first `{name}` {variables} prompt={prompt}")
        print("  theirs", json.dumps(wanted, ensure_ascii=False)[-600:])
        print("  ours  ", json.dumps(found, ensure_ascii=False)[-600:])
    print(f"{len(templates)} templates, {same} texts equal, {blocks} of them with equal spans, "
          f"{refused} refused by both, {looser} where only Python stumbles over null, {sum(map(len, differ.values()))} differ")
    sys.exit(bool(differ) or same == 0)


main()
