"""OpenAI's client against two servers of ours, the second behind layers: `openai_client.py URL LAYERED KEY ADMIN`
prints what was checked.

What a server cannot do it has to refuse by name; an answer that ignores it is an error here.
"""

import json
import sys

import openai
from openai import OpenAI

url, layered, key, admin = sys.argv[1:]
client = OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
asked = [{"role": "user", "content": "What is an easement?"}]
tools = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Adds.",
            "parameters": {
                "type": "object", "properties": {"a": {"enum": [1, 20, 300]}}, "required": ["a"],
            },
        },
    },
    {"type": "function", "function": {"name": "now"}},
]
done, refused = [], []


def fails(kind, code, call):
    try:
        call()
    except kind as error:
        body = error.body
        assert set(body) >= {"message", "type", "param", "code"}, body
        assert body["code"] == code, body
        return error
    raise AssertionError(f"not refused with {kind.__name__} {code}")


def honoured_or_refused(name, param, call, check):
    """Either it is done, or an error names it."""
    try:
        answer = call()
    except openai.APIStatusError as error:
        assert error.status_code in (400, 501), error
        assert error.body["param"] == param, error.body
        refused.append(name)
        return
    check(answer)
    done.append(name)


models = {model.id: model for model in client.models.list()}
assert set(models) == {"tiny", "law", "news", "tax"}, models
assert models["law"].parent == "tiny" and models["law"].root == "law"
assert client.models.retrieve("tiny").hash.startswith("0x")
done.append("models")

answers = {}
for model in ["tiny", "law", "tax"]:
    chat = client.chat.completions.create(
        model=model, messages=asked, max_completion_tokens=40, temperature=2, seed=1,
        extra_body={"ignore_eos": True},
    )
    choice = chat.choices[0]
    assert choice.message.role == "assistant" and isinstance(choice.message.content, str)
    assert choice.finish_reason in ("stop", "length") and chat.object == "chat.completion"
    assert chat.usage.total_tokens == chat.usage.prompt_tokens + chat.usage.completion_tokens
    assert chat.usage.completion_tokens_details is None
    answers[model] = choice.message.content
assert len(set(answers.values())) == 3, answers
assert client.models.retrieve("law").hash.startswith("0x")
done.append("chat")

for model, whole in answers.items():
    stream = client.chat.completions.create(
        model=model, messages=asked, max_completion_tokens=40, temperature=2, seed=1, stream=True,
        stream_options={"include_usage": True}, extra_body={"ignore_eos": True},
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole, (text, whole)
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0
    assert chunks[-2].choices[0].finish_reason is not None
done.append("streams")

text = client.completions.create(model="law", prompt=["a", "b"], n=2, max_tokens=4, seed=3)
assert [choice.index for choice in text.choices] == [0, 1, 2, 3]
again = client.completions.create(model="law", prompt=["a", "b"], n=2, max_tokens=4, seed=3)
assert [c.text for c in again.choices] == [c.text for c in text.choices]
parts = list(client.completions.create(model="law", prompt="a", max_tokens=4, seed=3, stream=True))
assert "".join(p.choices[0].text for p in parts) == text.choices[0].text
done.append("completions")

with_tools = client.chat.completions.create(
    model="tiny", messages=asked, tools=tools, tool_choice="auto", max_tokens=4, seed=1
)
without = client.chat.completions.create(model="tiny", messages=asked, max_tokens=4, seed=1)
assert with_tools.usage.prompt_tokens > without.usage.prompt_tokens, "the tools are in the prompt"
history = asked + [
    {
        "role": "assistant",
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "1"},
]
client.chat.completions.create(model="tiny", messages=history, tools=tools, max_tokens=4)
done.append("tools")


for choice in ["required", {"type": "function", "function": {"name": "add"}}]:
    asking = dict(
        model="tiny", messages=asked, tools=tools, max_tokens=400, seed=1, tool_choice=choice
    )
    chat = client.chat.completions.create(**asking)
    [call] = chat.choices[0].message.tool_calls
    assert chat.choices[0].finish_reason == "tool_calls", chat
    given = json.loads(call.function.arguments)
    if choice != "required":
        assert call.function.name == "add", call
    assert given == {} if call.function.name == "now" else given["a"] in (1, 20, 300), call
    deltas = [chunk.choices[0].delta for chunk in client.chat.completions.create(**asking, stream=True)]
    [[streamed]] = [delta.tool_calls for delta in deltas if delta.tool_calls]
    assert (streamed.function.name, streamed.function.arguments) == (
        call.function.name, call.function.arguments
    ), streamed
done.append("forced calls")


def likely(chat):
    told = chat.choices[0].logprobs.content
    assert len(told) == chat.usage.completion_tokens, told
    assert all(len(one.top_logprobs) == 3 and one.logprob <= 0 for one in told), told


honoured_or_refused(
    "logprobs", "logprobs",
    lambda: client.chat.completions.create(
        model="tiny", messages=asked, max_tokens=4, logprobs=True, top_logprobs=3,
        extra_body={"ignore_eos": True},
    ),
    likely,
)

schema = {
    "type": "object",
    "properties": {"yes": {"type": "boolean"}},
    "required": ["yes"],
    "additionalProperties": False,
}
honoured_or_refused(
    "JSON schema", "response_format",
    lambda: client.chat.completions.create(
        model="law", messages=asked, max_tokens=100, seed=1,
        response_format={
            "type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}
        },
    ),
    lambda chat: isinstance(json.loads(chat.choices[0].message.content)["yes"], bool),
)
for name, value in [
    ("top_p", 0.5), ("frequency_penalty", 1.0), ("presence_penalty", 1.0), ("logit_bias", {"65": -100}),
]:
    honoured_or_refused(
        name, name,
        lambda: client.chat.completions.create(
            model="tiny", messages=asked, max_tokens=4, **{name: value}
        ),
        lambda chat: chat.usage.completion_tokens,
    )

try:
    vectors = client.embeddings.create(model="tiny", input=["a", "b"], encoding_format="float")
    assert len(vectors.data) == 2
    done.append("embeddings")
except openai.InternalServerError as error:
    assert error.status_code == 501 and error.body["code"] == "unsupported", error.body
    refused.append("embeddings")

fails(openai.NotFoundError, "model_not_found",
      lambda: client.chat.completions.create(model="no", messages=asked))
fails(openai.BadRequestError, "invalid_value",
      lambda: client.chat.completions.create(model="tiny", messages=asked, temperature=3))
fails(openai.BadRequestError, "context_length_exceeded",
      lambda: client.chat.completions.create(
          model="tiny", messages=[{"role": "user", "content": "x" * 5000}]))
fails(openai.AuthenticationError, "invalid_api_key",
      lambda: OpenAI(base_url=f"{url}/v1", api_key="sk-wrong-0123456789", max_retries=0).models.list())
fails(openai.PermissionDeniedError, "admin_only",
      lambda: client.post("/load_lora_adapter", cast_to=object,
                          body={"lora_name": "x", "lora_path": "law"}))
done.append("errors")

administrator = OpenAI(base_url=f"{url}/v1", api_key=admin, max_retries=0)
administrator.post("/load_lora_adapter", cast_to=object, body={"lora_name": "again", "lora_path": "law"})
again = client.chat.completions.create(
    model="again", messages=asked, max_completion_tokens=40, temperature=2, seed=1,
    extra_body={"ignore_eos": True},
)
assert again.choices[0].message.content == answers["law"]
administrator.post("/unload_lora_adapter", cast_to=object, body={"lora_name": "again"})
fails(openai.NotFoundError, "model_not_found",
      lambda: client.chat.completions.create(model="again", messages=asked))
done.append("adapters")

payer = OpenAI(base_url=f"{layered}/v1", api_key=key, max_retries=0)
asking = dict(
    model="law", messages=asked, max_tokens=8,
    extra_body={"ignore_eos": True, "openledger": {"receipt": True, "ground": True}},
)
told = payer.chat.completions.create(**asking).choices[0].openledger
assert told["adapter"]["name"] == "law" and told["adapter"]["id"].startswith("0x"), told
assert told["citations"]["sources"][0]["contributor"] == "0x" + "01" * 20, told
assert told["receipt"]["message"]["fee"] == told["charge"] and int(told["charge"]) > 80, told
assert told["receipt"]["message"]["adapter"] == told["adapter"]["id"], told
assert told["receipt"]["signature"].startswith("0x"), told
last = list(payer.chat.completions.create(**asking, stream=True))[-1].choices[0]
assert last.finish_reason and last.openledger["charge"] and last.openledger["receipt"], last
fails(openai.BadRequestError, "unsupported_parameter", lambda: client.chat.completions.create(**asking))
poor = OpenAI(base_url=f"{layered}/v1", api_key=admin, max_retries=0)
try:
    poor.chat.completions.create(**asking)
    raise AssertionError("answered for nothing")
except openai.APIStatusError as error:
    assert error.status_code == 402 and error.body["code"] == "payment_required", error.body
    assert int(error.response.json()["openledger"]["amount"]) > 80
done.append("receipts, citations and charges")

assert refused == [], refused
print(f"openai {openai.__version__}: {', '.join(done)}" +
      (f"; refused by name: {', '.join(refused)}" if refused else ""))
