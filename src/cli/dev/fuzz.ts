import { run } from './tools.ts'

process.exitCode = await run(process.execPath, ['--expose-gc', 'test/mesh/fuzz.ts', ...process.argv.slice(2)])
