// The trees of merkle.rs by @openzeppelin/merkle-tree: NODE_MODULES=DIR node merkle.mjs
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.NODE_MODULES, "x.js"));
const { StandardMerkleTree } = require("@openzeppelin/merkle-tree");
for (const leaves of [1_000, 100_000]) {
  const values = Array.from({ length: leaves }, (_, n) => ["0x" + n.toString(16).padStart(64, "0")]);
  StandardMerkleTree.of(values.slice(0, 1_000), ["bytes32"]); // warm
  const begun = process.cpuUsage();
  const tree = StandardMerkleTree.of(values, ["bytes32"]);
  const { user, system } = process.cpuUsage(begun);
  console.log(`${leaves} leaves: ${((user + system) / 1000).toFixed(1)} ms, root ${tree.root}`);
}
