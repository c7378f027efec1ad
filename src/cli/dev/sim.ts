import { run } from './tools.ts'

// `npm run sim -- --nodes 100 --load 0.3,0.7` compares schedulers, `npm run sim -- seeds --runs 10000` looks for broken promises.
process.exitCode = await run(process.execPath, ['src/sim/main.ts', ...process.argv.slice(2)])
