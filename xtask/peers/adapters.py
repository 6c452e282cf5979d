"""Logits of adapters in PEFT: of those that lie in the folder, and of some made here.

Reads a plan from standard input: {folder, tokens, write, load: [{model, adapter}], make: [{model, adapter, config}]}.
Prints a line for each: {model, adapter, logits, written, following}: the logits at each of the tokens, the tokens that are
likeliest after them, one after the other, and the logits that each of these was the largest of.
"""

import json
import os
import sys
import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

warnings.filterwarnings("ignore")
torch.set_num_threads(1)


def base(plan, model):
    path = os.path.join(plan["folder"], model)
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()


def say(plan, asked, model):
    with torch.no_grad():
        logits = model(torch.tensor([plan["tokens"]])).logits[0]
    said = {"model": asked["model"], "adapter": asked["adapter"], "logits": logits.flatten().tolist()}
    said["written"], said["following"] = [], []
    while len(said["written"]) < plan["write"]:
        said["following"].append(logits[-1].tolist())
        said["written"].append(int(logits[-1].argmax()))
        with torch.no_grad():
            logits = model(torch.tensor([plan["tokens"] + said["written"]])).logits[0]
    print(json.dumps(said), flush=True)


def fill(model):
    """Gives every trained tensor a value that is not the start's."""
    generator = torch.Generator().manual_seed(7)
    for name, tensor in sorted(model.named_parameters()):
        if not tensor.requires_grad:
            continue
        noise = torch.rand(tensor.shape, generator=generator) - 0.5
        if "lora_magnitude_vector" in name:
            tensor.data *= 1 + noise
        elif "modules_to_save" in name:
            tensor.data += 0.2 * noise
        elif "lora_B" in name:
            tensor.data += 0.1 * noise


def main():
    plan = json.load(sys.stdin)
    for asked in plan["load"]:
        path = os.path.join(plan["folder"], asked["model"], asked["adapter"])
        with warnings.catch_warnings():
            # PEFT warns of tensors that are missing or not known: here that is an error.
            warnings.filterwarnings("error", message=".*(issing|nexpected).*keys.*")
            model = PeftModel.from_pretrained(base(plan, asked["model"]), path)
        say(plan, asked, model.eval())
    for asked in plan["make"]:
        model = get_peft_model(base(plan, asked["model"]), LoraConfig(task_type="CAUSAL_LM", **asked["config"]))
        fill(model)
        say(plan, asked, model.eval())
        model.save_pretrained(os.path.join(plan["folder"], asked["model"], asked["adapter"]))


main()
