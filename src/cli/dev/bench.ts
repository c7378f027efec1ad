import { run } from './tools.ts'

process.exitCode = await run(process.execPath, ['test/bench/main.ts', ...process.argv.slice(2)])
