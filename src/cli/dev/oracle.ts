import { run } from './tools.ts'

process.exitCode = await run(process.execPath, ['test/oracle/main.ts', ...process.argv.slice(2)])
