/** One segment without anything that a path, a shell or a terminal would read into it. */
export function isPlainName(name: string): boolean {
  return name !== '.' && name !== '..' && /^[^/\\\u0000-\u001f\u007f]+$/.test(name) && Buffer.byteLength(name) <= 255
}
