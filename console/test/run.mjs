// Runs the journey against the test double: starts it, walks, stops it.

import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const server = spawn(process.execPath, [join(here, "fake_server.mjs")], { stdio: ["ignore", "pipe", "inherit"] });
server.stdout.once("data", (line) => {
  const journey = spawn(process.execPath, [join(here, "journey.mjs"), String(line).trim(), ...process.argv.slice(2)], { stdio: "inherit" });
  journey.on("exit", (code) => {
    server.kill();
    process.exitCode = code ?? 1;
  });
});
