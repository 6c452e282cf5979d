// Compiles every contract in src/ with solc's JavaScript build and writes its ABI and bytecode.
//   npm install && node compile.mjs OUT
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";

const root = process.env.NODE_MODULES ?? join(import.meta.dirname, "node_modules");
const solc = createRequire(join(root, "x.js"))("solc");
const src = join(import.meta.dirname, "src");
const files = readdirSync(src, { recursive: true }).filter((file) => file.endsWith(".sol")).sort();
const named = (file) => basename(file, ".sol"); // a file's contract has the file's name
const input = {
  language: "Solidity",
  sources: Object.fromEntries(files.map((file) => [`src/${file}`, { content: readFileSync(join(src, file), "utf8") }])),
  settings: {
    evmVersion: "cancun",
    optimizer: { enabled: true, runs: 200 },
    metadata: { bytecodeHash: "none", appendCBOR: false },
    remappings: ["@openzeppelin/=@openzeppelin/", "solady/=solady/src/"],
    outputSelection: Object.fromEntries(
      files.map((file) => [`src/${file}`, { [named(file)]: ["abi", "evm.bytecode.object"] }]),
    ),
  },
};
const load = (path) => ({ contents: readFileSync(join(root, path), "utf8") });
const output = JSON.parse(solc.compile(JSON.stringify(input), { import: load }));
// A warning about a source of ours is an error; those about libraries are their authors'.
const errors = (output.errors ?? []).filter(
  ({ severity, sourceLocation }) => severity === "error" || sourceLocation?.file.startsWith("src/"),
);
if (errors.length > 0) {
  console.error(errors.map((error) => error.formattedMessage).join("\n"));
  process.exit(1);
}
const out = process.argv[2];
mkdirSync(out, { recursive: true });
for (const file of files) {
  const name = named(file);
  const contract = output.contracts[`src/${file}`]?.[name];
  if (!contract?.evm.bytecode.object) continue; // interfaces and abstract contracts
  const artifact = { abi: contract.abi, bytecode: { object: "0x" + contract.evm.bytecode.object } };
  writeFileSync(join(out, `${name}.json`), JSON.stringify(artifact) + "\n");
}
