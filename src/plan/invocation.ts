/** One rustc command as cargo issued it and the shim reported it. */
export interface Invocation {
  /** The clippy-driver that runs in rustc's place, as cargo named it. */
  driver: string | undefined
  /** rustc as cargo named it. */
  rustc: string
  /** Arguments after the program, argument files expanded. */
  argv: string[]
  cwd: string
  env: ReadonlyMap<string, string>
  /** Path prefixes that the shim hides in every compile: real directory → name in the outputs, in order. */
  remaps: { from: string; to: string }[]
  /** Process id of the cargo that issued it. */
  cargoPid: number
}
