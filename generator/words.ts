/** Names of the simulated shop: real cities in their own scripts, and words that products are made of. */

/** The story's twelve, by size. */
export const SHOP_CITIES: readonly string[] = [
  'London', 'Manchester', 'Birmingham', 'Glasgow', 'Dublin', 'Paris', 'Zürich', 'São Paulo', 'Łódź', 'Αθήνα', '東京', 'תל אביב',
]

export const MORE_CITIES: readonly string[] = [
  'Leeds', 'Bristol', 'Liverpool', 'Edinburgh', 'Cardiff', 'Belfast', 'Berlin', 'München', 'Köln', 'Wien', 'Genève', 'Lyon', 'Marseille',
  'Bruxelles', 'Amsterdam', 'København', 'Malmö', 'Ålesund', 'Helsinki', 'Tallinn', 'Kraków', 'Praha', 'Győr', 'București', 'София', 'Київ',
  'İstanbul', 'القاهرة', 'نیویورک', 'मुंबई', 'ঢাকা', 'กรุงเทพมหานคร', 'Thành phố Hồ Chí Minh', '서울', '大阪', '上海', '臺北', 'Sydney', 'Ōtautahi',
  'Toronto', 'Montréal', 'Boston', 'Ciudad de México', 'Bogotá', 'Lima', 'Reykjavík', 'Lisboa', 'Málaga', 'Coruña', "L'Aquila",
]

/** Beginnings and endings of made-up towns, for profiles with more cities than the lists hold. */
export const TOWN_BEGINNINGS: readonly string[] = [
  'Ash', 'Bram', 'Chels', 'Dun', 'Elm', 'Fair', 'Glen', 'Hart', 'Ingle', 'Kings', 'Lang', 'Mill', 'Nor', 'Oak', 'Pem', 'Quorn', 'Rad', 'Stan', 'Thorn', 'Whit',
]
export const TOWN_ENDINGS: readonly string[] = [
  'bury', 'by', 'combe', 'dale', 'don', 'field', 'ford', 'ham', 'hurst', 'leigh', 'ley', 'mere', 'mouth', 'port', 'stead', 'ster', 'thorpe', 'ton', 'well', 'wick',
  'worth', 'holm',
]

export type CategoryWords = {
  readonly name: string
  readonly things: readonly string[]
  /** Minor units. */
  readonly cheapestMinor: number
  readonly dearestMinor: number
  /** Weight of each month, January first, in tenths. */
  readonly seasonTenths: readonly number[]
}

const EVEN_YEAR = [10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10]

export const CATEGORIES: readonly CategoryWords[] = [
  { name: 'Electronics', things: ['Laptop', 'Headphones', 'Keyboard', 'Monitor, 27"', 'Tablet', 'Camera', 'Charger'], cheapestMinor: 1500, dearestMinor: 150000, seasonTenths: [8, 7, 7, 7, 7, 7, 7, 8, 9, 9, 14, 15] },
  { name: 'Home & Kitchen', things: ['Kettle', 'Lamp, 60 cm', 'Saucepan', 'Blender', 'Teapot', 'Bowl'], cheapestMinor: 600, dearestMinor: 24000, seasonTenths: EVEN_YEAR },
  { name: 'Clothing', things: ['Shirt', 'Coat', 'Jumper', 'Scarf', 'Trousers', 'Socks'], cheapestMinor: 500, dearestMinor: 18000, seasonTenths: [12, 8, 9, 10, 10, 9, 9, 8, 11, 12, 12, 12] },
  { name: 'Books', things: ['Novel', 'Atlas', 'Cookbook', 'Dictionary', 'Biography'], cheapestMinor: 399, dearestMinor: 4500, seasonTenths: [9, 9, 9, 9, 9, 10, 12, 11, 11, 9, 10, 16] },
  { name: 'Garden', things: ['Spade', 'Watering Can', 'Parasol', 'Bench', 'Bird Table'], cheapestMinor: 700, dearestMinor: 32000, seasonTenths: [3, 4, 11, 16, 19, 17, 14, 11, 8, 5, 3, 3] },
  { name: 'Toys', things: ['Train Set', 'Puzzle', 'Kite', 'Building Blocks', 'Doll’s House'], cheapestMinor: 450, dearestMinor: 9500, seasonTenths: [6, 6, 7, 7, 8, 9, 9, 8, 8, 9, 17, 26] },
  { name: 'Beauté', things: ['Soap', 'Eau de Toilette', 'Crème', 'Shampoo'], cheapestMinor: 250, dearestMinor: 8900, seasonTenths: [8, 13, 9, 9, 11, 10, 10, 9, 9, 9, 11, 15] },
  { name: 'Sports', things: ['Tennis Racket', 'Yoga Mat', 'Rucksack', 'Football', 'Skis'], cheapestMinor: 800, dearestMinor: 39000, seasonTenths: [13, 9, 9, 10, 12, 13, 12, 10, 9, 8, 9, 11] },
  { name: 'Grocery', things: ['Coffee', 'Honey', 'Olive Oil', 'Biscuits'], cheapestMinor: 120, dearestMinor: 3500, seasonTenths: EVEN_YEAR },
  { name: 'Music', things: ['Guitar', 'Record', 'Ukulele', 'Metronome'], cheapestMinor: 900, dearestMinor: 80000, seasonTenths: EVEN_YEAR },
  { name: 'Pets', things: ['Basket', 'Lead', 'Fish Tank', 'Cat Tree'], cheapestMinor: 300, dearestMinor: 15000, seasonTenths: EVEN_YEAR },
  { name: 'Office', things: ['Notebook', 'Fountain Pen', 'Desk', 'Stapler'], cheapestMinor: 150, dearestMinor: 45000, seasonTenths: EVEN_YEAR },
]

export const MATERIALS: readonly string[] = ['Oak', 'Copper', 'Linen', 'Slate', 'Cedar', 'Ivory', 'Cobalt', 'Amber', 'Olive', 'Crimson', 'Pearl', 'Ochre']
export const MANNERS: readonly string[] = ['Classic', 'Pocket', 'Travel', 'Grand', 'Quiet', 'Everyday', 'Heritage', 'Compact', 'Weekend', 'Original']
export const BRANDS: readonly string[] = ['Acme', 'Norrland', 'Fjällström', 'Kōbō', 'Halcyon', 'Brück & Söhne', 'Tideway']
/** Names that read from right to left, or in other scripts, are names like any other. */
export const FOREIGN_NAMES: readonly string[] = ['قميص كتان', 'ספר בישול', '手作り茶碗', 'Матрёшка', 'Crème brûlée set', 'Ναυτική πυξίδα']
