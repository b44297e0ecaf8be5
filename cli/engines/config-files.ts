/** The three kinds of configuration files that the engines read: a shared file of `hadoop/` and, on top of it, what is of this machine. */

export type ConfigValues = Readonly<Record<string, string | number | boolean>>

/** The settings of a Java properties file; later lines win. Knows what our files use: no continued lines, no escapes. */
export function parseProperties(text: string): Record<string, string> {
  const values: Record<string, string> = {}
  for (const line of text.split('\n')) {
    const [, name, value] = /^([^#!=:\s][^=:\s]*)\s*[=:]\s*(.*)$/.exec(line.trim()) ?? []
    if (name !== undefined && value !== undefined) values[name] = value
  }
  return values
}

/** A Java properties file. A backslash is the only character of our values that means something in it. */
export function propertiesText(values: ConfigValues): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${String(value).replaceAll('\\', '\\\\')}\n`)
    .join('')
}

/** The properties of a Hadoop configuration file. */
export function parseHadoopXml(text: string): Record<string, string> {
  const properties = [...text.matchAll(/<property>\s*<name>([^<]*)<\/name>\s*<value>([^<]*)<\/value>\s*<\/property>/g)]
  return Object.fromEntries(properties.map(([, name = '', value = '']) => [name, unescapeXml(value)]))
}

export function hadoopXmlText(values: ConfigValues): string {
  const lines = Object.entries(values).map(([name, value]) => `  <property><name>${escapeXml(name)}</name><value>${escapeXml(String(value))}</value></property>\n`)
  return `<?xml version="1.0" encoding="UTF-8"?>\n<configuration>\n${lines.join('')}</configuration>\n`
}

const entities = { '&': '&amp;', '<': '&lt;', '>': '&gt;' } as const

function escapeXml(text: string): string {
  return text.replaceAll(/[&<>]/g, (character) => entities[character as keyof typeof entities])
}

function unescapeXml(text: string): string {
  return text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&')
}

/** A YAML file of one level, on top of such a text: each value as JSON, which YAML reads. */
export function yamlText(shared: string, values: ConfigValues): string {
  return `${shared.trimEnd()}\n${Object.entries(values)
    .map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`)
    .join('')}`
}

/** A Redis configuration file, on top of such a text. */
export function redisText(shared: string, values: ConfigValues): string {
  return `${shared.trimEnd()}\n${Object.entries(values)
    .map(([name, value]) => `${name} ${typeof value === 'string' ? JSON.stringify(value) : value}\n`)
    .join('')}`
}
