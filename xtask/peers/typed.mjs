// Reads a JSON array of {primaryType, domain, message} and of {leaf: [types, values]} on standard input
// and prints, a line each: the digest viem computes and the signature cast makes of the same typed data;
// for a leaf, the hash by OpenZeppelin's library and by viem's own encoder.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.NODE_MODULES, "x.js"));
const { concat, encodeAbiParameters, hashTypedData, keccak256 } = require("viem");
const { StandardMerkleTree } = require("@openzeppelin/merkle-tree");

const fields = (text) => text.split(",").map((field) => {
  const [type, name] = field.trim().split(" ");
  return { name, type };
});
// As a third party would write them down from the documentation.
const TYPES = {
  Contribution: "bytes32 datanet, bytes32 root, uint64 rows, uint64 size, bytes32 terms, address contributor, uint256 nonce, uint64 deadline",
  Grant: "bytes32 datanet, uint64 version, uint8 scope, bytes32 purpose, address grantee, uint64 notBefore, uint64 notAfter, address owner, uint256 nonce, uint64 deadline",
  Withdrawal: "bytes32 datanet, bytes32 root, uint64 rows, address contributor, uint256 nonce, uint64 deadline",
  DatanetVersion: "bytes32 datanet, uint64 version, bytes32 root",
  RowShare: "bytes32 row, bytes32 datanet, address contributor, uint64 weight",
  Receipt: "bytes32 model, bytes32 adapter, DatanetVersion[] datanets, string method, bytes32 prompt, bytes32 output, uint64 tokensIn, uint64 tokensOut, uint256 fee, RowShare[] shares, address payer, address node, uint256 nonce, uint64 deadline",
  Ballot: "uint256 proposal, address voter, uint8 support, bytes32 reason",
  Verdict: "bytes32 contribution, bytes32 policy, bytes32 findings, uint8 decision, uint32 score, address validator, uint256 nonce, uint64 deadline",
  TransferWithAuthorization: "address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce",
};
const DOMAIN = "string name, string version, uint256 chainId, address verifyingContract";
const NESTED = { Receipt: ["DatanetVersion", "RowShare"] };

for (const asked of JSON.parse(readFileSync(0, "utf8"))) {
  if (asked.leaf) {
    const [types, values] = asked.leaf;
    const theirs = StandardMerkleTree.of([values], types).root;
    const encoded = encodeAbiParameters(types.map((type) => ({ type })), values);
    console.log(JSON.stringify({ theirs, viem: keccak256(concat([keccak256(encoded)])) }));
    continue;
  }
  const { primaryType, domain, message } = asked;
  const names = [primaryType, ...(NESTED[primaryType] ?? [])];
  const types = Object.fromEntries(names.map((name) => [name, fields(TYPES[name])]));
  const viem = hashTypedData({ types, primaryType, domain, message });
  const data = JSON.stringify({ types: { ...types, EIP712Domain: fields(DOMAIN) }, primaryType, domain, message });
  const cast = spawnSync(process.env.CAST, ["wallet", "sign", "--private-key", process.env.KEY, "--data", data], { encoding: "utf8" });
  if (cast.status !== 0) throw new Error(cast.stderr);
  console.log(JSON.stringify({ viem, cast: cast.stdout.trim() }));
}
