// Writes compiled.json beside this file: the code that each contract has on the chain, and its ABI.
//
//     npm install --prefix /tmp/solc solc@0.8.30 && NODE_PATH=/tmp/solc/node_modules node compile.js
//
// Only after a change of a .sol file; the tests need neither node nor the compiler.

const fs = require("fs");
const path = require("path");
const solc = require("solc");

const sources = {};
for (const name of fs.readdirSync(__dirname)) {
  if (name.endsWith(".sol")) sources[name] = { content: fs.readFileSync(path.join(__dirname, name), "utf8") };
}
const output = JSON.parse(
  solc.compile(
    JSON.stringify({
      language: "Solidity",
      sources,
      settings: {
        evmVersion: "cancun",
        viaIR: true,
        optimizer: { enabled: true, runs: 200 },
        metadata: { bytecodeHash: "none", appendCBOR: false },
        outputSelection: { "*": { "*": ["abi", "evm.deployedBytecode.object"] } },
      },
    }),
  ),
);
for (const problem of output.errors ?? []) console.error(problem.formattedMessage);
if ((output.errors ?? []).some((problem) => problem.severity === "error")) process.exit(1);

const compiled = {};
for (const contracts of Object.values(output.contracts)) {
  for (const [name, contract] of Object.entries(contracts)) {
    if (contract.evm.deployedBytecode.object && contract.abi.length) {
      compiled[name] = { code: "0x" + contract.evm.deployedBytecode.object, abi: contract.abi };
    }
  }
}
const sorted = Object.fromEntries(Object.keys(compiled).sort().map((name) => [name, compiled[name]]));
fs.writeFileSync(path.join(__dirname, "compiled.json"), JSON.stringify(sorted, null, 1) + "\n");
