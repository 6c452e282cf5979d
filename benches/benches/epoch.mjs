// Builds the tree of a dump's leaves again by @openzeppelin/merkle-tree, for epoch_process.rs:
// NODE_MODULES=DIR node epoch.mjs DUMP prints CPU milliseconds and the root.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.NODE_MODULES, "x.js"));
const { StandardMerkleTree } = require("@openzeppelin/merkle-tree");
const { leafEncoding, values } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const leaves = values.map(({ value }) => value);
StandardMerkleTree.of(leaves.slice(0, 1_000), leafEncoding); // warm
const begun = process.cpuUsage();
const tree = StandardMerkleTree.of(leaves, leafEncoding);
const { user, system } = process.cpuUsage(begun);
console.log(`${(user + system) / 1000} ${tree.root}`);
