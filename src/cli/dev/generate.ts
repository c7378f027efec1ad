import { generate, generatedDir } from './protocol-code.ts'

process.exitCode = await generate(generatedDir)
