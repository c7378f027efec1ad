/** Types of crates that the compiler makes without a linker. */
export const madeByCompiler: ReadonlySet<string> = new Set(['lib', 'rlib', 'staticlib'])

/** How rustc calls what it makes of a crate. */
export function linkedOutputName(type: string, stem: string, target: string): string {
  if (type === 'lib' || type === 'rlib') return `lib${stem}.rlib`
  if (type === 'staticlib') return `lib${stem}.a`
  const wasm = target.startsWith('wasm')
  if (type === 'bin') return wasm ? `${stem}.wasm` : stem
  if (wasm) return `${stem}.wasm`
  const apple = target === '' ? process.platform === 'darwin' : target.includes('apple')
  return `lib${stem}${apple ? '.dylib' : '.so'}`
}
