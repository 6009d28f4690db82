// Reads an AsyncAPI document as the tools of its own makers do; says what is wrong with it, and fails.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const ERROR = 0;
const { diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf-8"));
const errors = diagnostics.filter(({ severity }) => severity === ERROR);
for (const { path, message } of errors) console.error(`${path.join(".")}: ${message}`);
process.exit(errors.length ? 1 : 0);
