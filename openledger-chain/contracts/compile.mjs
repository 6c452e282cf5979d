// Compiles every contract in src/ with solc's JavaScript build and writes its ABI and bytecode.
//   npm install && node compile.mjs OUT
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const root = process.env.NODE_MODULES ?? join(import.meta.dirname, "node_modules");
const solc = createRequire(join(root, "x.js"))("solc");
const src = join(import.meta.dirname, "src");
const names = readdirSync(src).filter((file) => file.endsWith(".sol")).sort();
const input = {
  language: "Solidity",
  sources: Object.fromEntries(names.map((file) => [`src/${file}`, { content: readFileSync(join(src, file), "utf8") }])),
  settings: {
    evmVersion: "cancun",
    optimizer: { enabled: true, runs: 200 },
    metadata: { bytecodeHash: "none", appendCBOR: false },
    remappings: ["@openzeppelin/=@openzeppelin/"],
    outputSelection: Object.fromEntries(
      names.map((file) => [`src/${file}`, { [file.replace(".sol", "")]: ["abi", "evm.bytecode.object"] }]),
    ),
  },
};
const load = (path) => ({ contents: readFileSync(join(root, path), "utf8") });
const output = JSON.parse(solc.compile(JSON.stringify(input), { import: load }));
const errors = output.errors ?? []; // warnings are errors here
if (errors.length > 0) {
  console.error(errors.map((error) => error.formattedMessage).join("\n"));
  process.exit(1);
}
const out = process.argv[2];
mkdirSync(out, { recursive: true });
for (const file of names) {
  const name = file.replace(".sol", "");
  const contract = output.contracts[`src/${file}`][name];
  const artifact = { abi: contract.abi, bytecode: { object: "0x" + contract.evm.bytecode.object } };
  writeFileSync(join(out, `${name}.json`), JSON.stringify(artifact) + "\n");
}
