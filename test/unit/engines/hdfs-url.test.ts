import { expect, test } from 'vitest'
import { ConfigError } from '#core/errors.ts'
import { parseHdfsUrl } from '#engines/hdfs-url.ts'

test('a URL names NameNodes, the folder, the user and further DataNodes', () => {
  expect(parseHdfsUrl('webhdfs://NameNode:9870,namenode2:9870/shopsphere/lake/?user=tidemark&datanodes=dn1:9864,dn2', 'hdfs://namenode:8020/shopsphere/lake')).toEqual({
    nameNodes: ['http://namenode:9870', 'http://namenode2:9870'],
    root: '/shopsphere/lake',
    user: 'tidemark',
    dataNodes: new Set(['dn1:9864', 'dn2']),
    location: 'hdfs://namenode:8020/shopsphere/lake',
  })
})

test('without a location the folder lies on the file system that the query engine names first', () => {
  expect(parseHdfsUrl('webhdfs://127.0.0.1:9870/shopsphere', '')).toMatchObject({ user: null, location: 'hdfs:///shopsphere' })
})

test.each([
  ['webhdfs://namenode/shopsphere', /no host:port/],
  ['webhdfs://namenode:9870', /names no folder/],
  ['webhdfs://namenode:9870/', /names no folder/],
  ['webhdfs://namenode:9870/a/../b', /names no folder/],
  ['webhdfs://namenode:9870/a%20b', /names no folder/],
  ['webhdfs://user:secret@namenode:9870/a', /no address of a lake/],
  ['webhdfs://namenode:9870,/a', /no host:port/],
  ['webhdfs://namenode:9870/a?usr=x', /parameter "usr"/],
  ['webhdfs://namenode:9870/a?user=x%26op%3DDELETE', /no name of a user/],
  ['webhdfs://namenode:9870/a?datanodes=a/b', /no DataNode/],
  ['hdfs://namenode:8020/a', /no address of a lake/],
  ['webhdfs://namenode:9870/a#b', /no address of a lake/],
])('the URL %s is refused with its fix', (url, message) => {
  expect(() => parseHdfsUrl(url, '')).toThrow(ConfigError)
  expect(() => parseHdfsUrl(url, '')).toThrow(message)
})

test.each(['/shopsphere', 'namenode:8020/a', "hdfs://namenode/a'b", 'hdfs://namenode/a b'])('the location %s is refused', (location) => {
  expect(() => parseHdfsUrl('webhdfs://namenode:9870/a', location)).toThrow(/no place that a query engine could read/)
})

test('a password, which WebHDFS does not know, is refused and not told', () => {
  expect(() => parseHdfsUrl('webhdfs://u:s3cret@h:9870/shop', '')).toThrow(ConfigError)
  expect(() => parseHdfsUrl('webhdfs://u:s3cret@h:9870/shop', '')).not.toThrow(/s3cret/)
})
