import { run } from './tools.ts'

process.exitCode = await run(process.execPath, ['test/store/crash-matrix.ts', ...process.argv.slice(2)])
