import { run } from './tools.ts'

process.exitCode = await run(process.execPath, ['test/mesh/fuzz.ts', ...process.argv.slice(2)])
